"""One question a file: a configuration, a frame and a figure."""
