"""Real architectures of four libraries, with random weights."""
