"""The command line: a command is a few lines that call one library function."""
