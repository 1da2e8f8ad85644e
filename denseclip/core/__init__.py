"""What every model around a CLIP shares, in plain PyTorch: where its weights come from, and the words it takes."""
