"""What is done to the service while phones deliver to it, to see whether it keeps its word."""
