/* Desired changes as sections of a UAPI `set` (docs/uapi.md). Pure: no I/O. */
#pragma once

struct buf;
struct desired_change;

/* Appends the section of one change. The text holds preshared keys: free the buffer with buf_free(). */
void change_text(struct buf *to, const struct desired_change *change);
