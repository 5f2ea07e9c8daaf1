"""Where stored responses are kept: memory, disk, memory over disk. They decide nothing about HTTP."""
