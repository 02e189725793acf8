"""Rendered fibre-optic scenes with exact labels: data for a demo without a download."""
