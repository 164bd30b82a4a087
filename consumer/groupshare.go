package consumer

// tellShare tells the limits which part of the group's work is this process's:
// the partitions whose takeover is complete and whose session is not over, of all
// partitions of the request topics. Two processes never count the same partition,
// because a takeover is complete only after the fence, so that all of them together keep
// to the limits also while partitions move.
func (c *Consumer) tellShare() {
	known := c.partitions.Load()
	if known == nil {
		return
	}
	all := 0
	for _, partitions := range *known {
		all += len(partitions)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if all > 0 {
		c.Handler.Admission.SetShare(float64(c.sessions) / float64(all))
	}
}

// count adds to the sessions of this process.
func (c *Consumer) count(n int) {
	c.mu.Lock()
	c.sessions += n
	c.mu.Unlock()
	c.tellShare()
}
