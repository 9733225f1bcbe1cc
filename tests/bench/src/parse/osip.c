#include <osipparser2/osip_parser.h>

static void prepare(void)
{
    parser_init();
}

static int once(const char *text, unsigned length)
{
    osip_message_t *message = 0;
    osip_contact_t *contact = 0;
    int good = osip_message_init(&message) == 0 && osip_message_parse(message, text, length) == 0 && message->from
        && message->to && message->cseq && message->call_id && message->content_length
        && osip_list_size(&message->vias) == 1 && osip_message_get_contact(message, 0, &contact) == 0 && contact;

    osip_message_free(message);
    return good;
}
