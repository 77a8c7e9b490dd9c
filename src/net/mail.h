/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail over SMTP: one message to whoever is named. Knows no alert, keeps no queue, tries once.
 */
#ifndef HF_NET_MAIL_H
#define HF_NET_MAIL_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/thread.h"

struct hf_mail_options {
    const char *url;             /* smtp://host:port, with STARTTLS; or smtps://host:port */
    const char *ca_file;         /* PEM of trusted certificates; NULL: the system's */
    const char *user, *password; /* NULL: without */
    const char *from;
    const char *const *to;
    size_t to_count;
    const struct hf_cancel *cancel; /* borrowed; NULL: none */
    uint32_t timeout_ms;            /* of all of it; 0: 60 s */
};
/*
 * Hands the message (headers, an empty line, the text, lines ending in CR LF) to the server. Without TLS only to this host.
 * INVALID for an URL that is none, DENIED where the server or its certificate refuses, UNAVAILABLE when nobody answers.
 */
HF_MUST_CHECK enum hf_err hf_mail_send(const struct hf_mail_options *options, struct hf_str message,
                                       struct hf_error *err);

#endif
