"""From bytes on disk to tensors, knowing neither model nor task."""
