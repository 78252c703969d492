/* Keeps what the host sends into an interface for a moment in which the kernel would lose it, and then lets it go on.
 *
 * The kernel loses it while somebody gives the interface its first filters: to put their place there (clsact),
 * qdisc_graft() in its net/sched/sch_api.c takes the interface's way out away for as long as all CPUs need to pass a
 * quiet state, mostly some 50 microseconds, at times milliseconds. What comes in is not concerned, nor are filters that
 * take the place of others.
 *
 *      the host's IP stack ----> [a rule of ours] ----> the interface
 *                                  |         ^
 *                                  +--> held +   an NFQUEUE of the kernel's, which nobody reads
 *
 * The rule is in a table of its own, inet sallyport_<interface>_hold, which the kernel removes when this process ends,
 * in whatever way. Then, and whenever the queue is not there, packets go on as without it. One thread at a time. */
#pragma once

struct hold;

/* From the return on everything is held, up to some ten thousand packets. -EOPNOTSUPP: this kernel has no NFQUEUE
 * (CONFIG_NFT_QUEUE, CONFIG_NETFILTER_NETLINK_QUEUE); -EINVAL, -EPERM, -ENOMEM, -EIO. */
int hold_begin(const char *interface_name, struct hold **ret_hold);
/* Lets all of it go on, in its order. Accepts NULL. */
void hold_end(struct hold *hold);

/* Returns when every packet that the host was handling has reached its end: from there on each one has met whatever
 * filters and rules were in force at the call. Some milliseconds. */
void hold_until_passed(void);
