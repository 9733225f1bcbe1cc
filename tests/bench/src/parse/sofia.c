#include <sofia-sip/msg.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/sip_protos.h>

static void prepare(void) {}

static int once(const char *text, unsigned length)
{
    msg_t *message = msg_make(sip_default_mclass(), 0, text, length);
    sip_t *sip = message ? sip_object(message) : 0;
    int good = sip && sip->sip_request && sip->sip_via && sip->sip_from && sip->sip_to && sip->sip_cseq
        && sip->sip_contact && sip->sip_call_id && sip->sip_content_length;

    msg_destroy(message);
    return good;
}
