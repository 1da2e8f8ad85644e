"""Files and folders on disk, for every room: whole or not at all, gone when they should be, under names of their own."""
