"""Reports of threads for people, and the rendering of what threads say."""
