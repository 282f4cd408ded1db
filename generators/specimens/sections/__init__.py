"""Objects in two dimensions for tomography: figures with uniform values in a round field of view."""
