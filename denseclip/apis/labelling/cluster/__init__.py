"""Tens of millions of pictures, labelled in shards by many processes.

``places``  where results lie: a folder or an object store, in which files appear whole
``sources``  what there is to label, and ``members`` the pictures of a shard
``plan``  which shard holds what, fixed when the output is begun
``parts``  the Parquet file of a finished shard
``tries`` and ``shard``  a shard from its pictures to its part, whatever a picture does to the process
``job`` and ``same``  what every process does, with the model that the command has
``run``  a source from its first shard to its last
``engine``  Ray, the only module that imports it
``collect``  finished shards as a labelled folder of ``denseclip label``
"""
