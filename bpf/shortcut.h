/* What the program of the short way in (shortcut.bpf.c) and the engine (src/engine/io/xdp.c) agree on. */
#pragma once

#define SHORTCUT_QUEUES_MAX 64 /* of one interface */
/* A frame of an AF_XDP socket, of which the kernel keeps 256 bytes for itself (Linux XDP_PACKET_HEADROOM). A datagram
 * that does not fit takes the kernel's way. */
#define SHORTCUT_FRAME_SIZE 2048
#define SHORTCUT_FRAME_MAX (SHORTCUT_FRAME_SIZE - 256)
