"""The suite beside its peers' own code: same weights, same picture, one thread, in turn.

    git clone https://github.com/sinahmr/NACLIP peers/NACLIP      # as many as there are rows of interest
    python -m studies.peers peers --list
    python -m studies.peers peers --rows naclip sclip --out peers.md
    python -m studies.peers peers --rows naclip --precision bf16      # the suite's side in bf16, too

Nothing of a peer is part of the suite: a row whose checkout is not there is left out, and said so.
"""
