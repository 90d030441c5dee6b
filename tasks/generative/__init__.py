"""Generation: densities of points and images, and models that turn noise into samples of them."""
