"""From a folder of pictures and a line of words to a labelled data set, and to what people decide about its labels."""
