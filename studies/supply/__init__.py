"""What the suite is made of: its dependencies, their licences and advisories, and the weights that come with it.

``python -m studies.supply licences`` writes the tables of ``docs/licences.md``, ``sbom FILE`` a software bill of
materials in CycloneDX, ``audit`` asks for known weaknesses of the tested versions.
"""
