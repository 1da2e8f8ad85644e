"""The mathematics as pure tensor functions."""
