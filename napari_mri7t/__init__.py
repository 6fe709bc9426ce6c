"""napari-mri7t: 7T-like T1w brain volumes from 3T scans, and the bench to study how."""

__version__ = "0.1.0"
