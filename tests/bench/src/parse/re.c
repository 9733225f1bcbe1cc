#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <re.h>

static void prepare(void) {}

static int once(const char *text, unsigned length)
{
    struct mbuf *bytes = mbuf_alloc(length);
    struct sip_msg *message = 0;
    int good;

    mbuf_write_mem(bytes, (const uint8_t *)text, length);
    mbuf_set_pos(bytes, 0);
    good = sip_msg_decode(&message, bytes) == 0 && message->req && message->via.branch.l && message->from.tag.l
        && message->to.auri.l && message->cseq.num && message->callid.l && message->clen.l
        && sip_msg_hdr(message, SIP_HDR_CONTACT);
    mem_deref(message);
    mem_deref(bytes);
    return good;
}
