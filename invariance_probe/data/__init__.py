"""Images: pictures to probe with, and data sets to train on."""
