"""The one reader of what people bring: a folder, a zip or a file of arrays becomes classes, a split, and a reading."""
