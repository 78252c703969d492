/* The settings that doctor found wrong, into a file under /etc/sysctl.d and into the running kernel. */
#pragma once

#include "base/buf.h"

struct doctor_host;
struct doctor_report;

#define DOCTOR_FIX_FILE "/etc/sysctl.d/60-sallyport.conf"

/* What the file should say: `old` (NULL: there is none) with each wrong setting in it once, under a comment. The same
 * settings again change nothing. */
void doctor_fix_text(const struct doctor_report *report, const char *old, struct buf *out);
/* Writes the file whole or not at all, and sets each setting at once. What could not be done is printed; -1 then. */
int doctor_fix(const struct doctor_report *report, const struct doctor_host *host, const char *path);
