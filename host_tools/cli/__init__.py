"""The `jiaozi` command: one file per group of verbs, and what they share."""
