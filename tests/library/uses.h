/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of krg-library share. */
#ifndef KRG_TEST_LIBRARY_USES_H
#define KRG_TEST_LIBRARY_USES_H

/* A process that wants something of who saves it: says so in its folder, waits for SIGTERM, says there how it went. */
int wants(const char *folder, const char *what);

#endif
