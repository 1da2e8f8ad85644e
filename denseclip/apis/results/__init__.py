"""What models find in a picture: one parent of all results, and one table of the files that they can be written to."""
