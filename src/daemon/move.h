/* sallyportd --store-migrate FROM TO: a store moved into another database. It is run by `sallyport store migrate`,
 * which has no store of its own, and tells it by lines on stdout: "DONE WHOLE" rows now and then, at the end "moved
 * ROWS TENANTS ROUTERS". What is wrong goes to stderr. */
#pragma once

/* The exit status: 0, or 1. */
int move_store(const char *from, const char *to);
