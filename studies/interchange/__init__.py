"""Round trips through the packages of annotation tools: what we write is read by them, what they write by us.

Each tool runs in an interpreter of its own, as their requirements contradict each other::

    python -m venv dm && dm/bin/pip install datumaro
    python -m venv ls && ls/bin/pip install label-studio-sdk
    python -m venv fo && fo/bin/pip install fiftyone
    python -m studies.interchange trips --python datumaro=dm/bin/python label-studio=ls/bin/python \
        fiftyone=fo/bin/python supervision=python
"""
