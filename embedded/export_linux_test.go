package embedded

// CgroupParent is the name of the cgroup of a daemon's containers.
var CgroupParent = cgroupParent
