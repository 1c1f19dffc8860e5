"""So what: one question a file, each a configuration, a frame and a figure."""
