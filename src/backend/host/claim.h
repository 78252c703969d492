/* One process per interface: whoever keeps an interface as desired claims its name in this network namespace, so that
 * two do not undo each other's work. The claim ends with the process, in whatever way. */
#pragma once

struct problem;

/* A descriptor to be closed. -EBUSY: another process has it, which `ret_problem` names. */
int claim_take(const char *interface_name, struct problem *ret_problem);
