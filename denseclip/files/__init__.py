"""Files and folders on disk: whole or not at all, gone when they should be, under names of their own."""
