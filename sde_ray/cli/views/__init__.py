"""What the commands print: tables, samples in colour, live progress."""
