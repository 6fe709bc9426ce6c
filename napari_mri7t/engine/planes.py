"""The three planes that slices are taken along, by the order of a volume's axes."""

AXES_OF_PLANE = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}  # of (S, A, R)
