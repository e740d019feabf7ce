"""Files that are whole or not there, folders that belong to one process, and names."""
