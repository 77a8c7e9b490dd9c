/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's way to the server: profile, calls with digest authentication, errors as ours. Knows no command.
 */
#ifndef HF_CLI_SESSION_H
#define HF_CLI_SESSION_H

#include "base/error.h"
#include "base/thread.h"
#include "codec/json.h"
#include "config/option.h"
#include "net/http_client.h"

/* What every command that talks to the server has. */
#define HF_CLI_OPTIONS(OPT)                                                                        \
    OPT(profile, PATH, "", 0, 4096, OPT_NONE, "File with the server's address and an API key")     \
    OPT(server, TEXT, "", 0, 4096, OPT_NONE, "Address of the server; otherwise the profile's")     \
    OPT(project, TEXT, "", 0, 255, OPT_NONE,                                                       \
        "Name or id of the project; otherwise the profile's, else the API key's own")              \
    OPT(ca_file, PATH, "", 0, 4096, OPT_NONE,                                                      \
        "Certificates (PEM) that the server's is checked with")                                    \
    OPT(json, FLAG, "false", 0, 0, OPT_NONE, "Print one JSON document")

struct hf_cli_session {
    struct hf_http_client *client;
    struct hf_cancel *cancel; /* borrowed: Ctrl-C */
    char url[4200];
    char project[32]; /* id; empty until asked for */
    char scope[256];  /* project that was named; empty: the key's own */
};

struct hf_cli_session_options {
    const char *
        profile; /* empty: HOLDFAST_PROFILE, ~/.config/holdfast/profile, /var/lib/holdfast/cli.profile */
    const char *server; /* empty: the profile's */
    const char *ca_file;
    const char *project; /* empty: the profile's, else the key's own */
};

/* NOT_FOUND says where a profile was looked for. */
HF_MUST_CHECK enum hf_err hf_cli_session_open(const struct hf_cli_session_options *options,
                                              struct hf_cli_session *out, struct hf_error *err);
void hf_cli_session_close(struct hf_cli_session *session);
HF_CLEANUP_DEFINE_VALUE(hf_cli_session_close, struct hf_cli_session)

/* One call; body may be NULL. *out is the answer's document. An answer that is no success becomes our error. */
HF_MUST_CHECK enum hf_err hf_cli_call(struct hf_cli_session *session, const char *method,
                                      const char *target, const struct hf_json *body,
                                      struct hf_json **out, struct hf_error *err);
/* GET into a sink: for downloads. */
HF_MUST_CHECK enum hf_err hf_cli_download(struct hf_cli_session *session, const char *target,
                                          const struct hf_http_sink *sink, struct hf_error *err);
/* Ctrl-C of this process: one token, made at the first call. */
struct hf_cancel *hf_cli_cancel(void);

#endif
