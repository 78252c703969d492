/* What the program of AF_XDP (xdp.bpf.c) and the engine (src/engine/io/xdp.c) agree on. */
#pragma once

#define XDP_QUEUES_MAX 64 /* of one interface */
/* A frame of an AF_XDP socket, of which the kernel keeps 256 bytes for itself (Linux XDP_PACKET_HEADROOM). A datagram
 * that does not fit takes the kernel's way. */
#define XDP_FRAME_SIZE 2048
#define XDP_FRAME_MAX (XDP_FRAME_SIZE - 256)
