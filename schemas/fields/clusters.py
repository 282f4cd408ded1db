"""Fields that describe a nanoparticle (`generators.specimens.atoms.cluster`)."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "cluster",
    ("kind", (), "uint8", "1", "0: octahedron, 1: sphere, 2: icosahedron, 3: decahedron, 4: amorphous"),
    ("arrangement", (), "uint8", "1", "0: random, 1: core-shell, 2: L1_0, 3: L1_2"),
    ("fault", (), "uint8", "1", "0: none, 1: stacking fault, 2: twin"),
    ("share", (), "float32", "1", "share of the atoms that are of the second element"),
    ("order", (), "float32", "1", "order parameter of the arrangement, relative to the largest possible"),
    ("constant", (), "float32", "nm", "lattice constant as an fcc crystal"),
    ("diameter", (), "float32", "nm", "diameter of the sphere of an fcc crystal with as many atoms"),
    ("truncation", (), "float32", "1", "octahedron: share of an edge cut off at each end"),
    ("belt", (), "float32", "1", "decahedron: height of the faces {100} relative to the axis"),
    ("notch", (), "float32", "1", "decahedron: depth of the notches, relative to the distance of the faces {100}"),
    ("offset", ("axis",), "float32", "lattice constant", "middle of the particle in the cell"),
    ("density", (), "float32", "1", "amorphous: density relative to the fcc crystal"),
    ("fault_height", (), "float32", "1", "distance of the fault from the middle, relative to that of the surface"),
    ("vacancies", (), "float32", "1", "share of the sites that are empty"),
    ("relaxation", (), "float32", "distance of nearest neighbours", "shift of the surface atoms towards the middle"),
    ("displacement", (), "float32", "nm", "standard deviation of static displacements along one axis"),
    ("quaternion", ("component",), "float32", "1", "orientation (w, z, y, x) at the angle 0"),
    ("seed", (), "uint32", "1", "seed of its atoms"),
)
