"""Files, folders and archives of strangers, read within limits and kept as imported datasets."""
