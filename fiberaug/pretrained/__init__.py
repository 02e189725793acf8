"""Pipelines that others trained: opened safely, told what to make, bounded in memory."""
