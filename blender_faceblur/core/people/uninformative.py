# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recogniser makes of a face in which nothing can be told: it is nobody's.

Blurred faces, backs of heads and much that is no face lie close to one place, and so seem to be one person. That place
is the mean over 150 official portraits, each aligned and blurred (Gaussian, sigma 14 of 150 pixels) until any two of
them are 0.35 apart. Of 1406 sharp portraits 1 in 100 lies nearer to it than 0.56; clearly seen faces in our clips lie
0.55 to 0.8 away, faces that were blurred at the source and backs of heads 0.25 to 0.48.
"""

UNINFORMATIVE = (
    -0.073, 0.119, 0.039, -0.034, -0.061, -0.046, -0.092, -0.061, 0.133, -0.033, 0.263, 0.000, -0.262, -0.073, 0.002,
    0.124, -0.157, -0.053, -0.136, -0.084, 0.010, -0.030, 0.052, 0.007, -0.134, -0.286, -0.083, -0.134, 0.063, -0.137,
    0.021, 0.042, -0.136, -0.044, 0.017, 0.027, -0.022, -0.068, 0.190, -0.046, -0.153, -0.039, -0.014, 0.240, 0.200,
    0.027, 0.050, -0.068, 0.067, -0.277, 0.033, 0.153, 0.034, 0.074, 0.090, -0.193, 0.044, 0.111, -0.160, 0.020,
    0.035, -0.074, -0.086, -0.082, 0.204, 0.126, -0.115, -0.142, 0.165, -0.131, 0.011, 0.090, -0.130, -0.199, -0.252,
    0.058, 0.365, 0.156, -0.175, 0.034, -0.081, -0.030, 0.012, 0.016, -0.102, -0.022, -0.059, 0.037, 0.167, -0.078,
    0.041, 0.210, -0.034, -0.007, 0.019, 0.004, -0.078, 0.007, -0.077, 0.029, 0.110, -0.165, 0.027, 0.077, -0.186,
    0.105, -0.004, -0.024, 0.032, 0.008, -0.085, -0.052, 0.238, -0.246, 0.253, 0.234, 0.046, 0.126, 0.069, 0.129,
    -0.020, 0.001, -0.133, -0.049, 0.011, -0.045, -0.055, -0.004,
)
"""128 numbers of `recognition.dlib_resnet`."""
