/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate for 127.0.0.1 and localhost that only tests use, signed by itself, with its key and the pin.
 */
#ifndef HF_TESTS_UNIT_NET_TLS_H
#define HF_TESTS_UNIT_NET_TLS_H

#define TEST_CERT_PEM                                                                              \
    "-----BEGIN CERTIFICATE-----\n"                                                                \
    "MIIBcDCCARWgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1ob2xkZmFz\n"                           \
    "dCB0ZXN0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD\n"                           \
    "VQQDDA1ob2xkZmFzdCB0ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE62qP\n"                           \
    "O0Cb3SKAfycHcWEafUC8+LgigK9ifvffXN9jclq6waqnx4ZZ3B6BPm/Os5ny6xok\n"                           \
    "DyJv6wtLX6ZmEwJetaNOMEwwGgYDVR0RBBMwEYcEfwAAAYIJbG9jYWxob3N0MA8G\n"                           \
    "A1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFLkpJp2QsvJhyrQmlrna5YOr9dglMAoG\n"                           \
    "CCqGSM49BAMCA0kAMEYCIQDxHeD6S4VHhkAPDzRQJuPPkK/oQ0PRucHHJjReinME\n"                           \
    "IgIhAKTdkKpZkULWvPTfEa1gX1vGiXYeVTwf5OGHW8huNaQD\n"                                           \
    "-----END CERTIFICATE-----\n"

#define TEST_KEY_PEM                                                                               \
    "-----BEGIN PRIVATE KEY-----\n"                                                                \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfT+U09iwfar7txkT\n"                           \
    "mF9vBXA+FMayAQwVt6ibqbZYLbChRANCAATrao87QJvdIoB/JwdxYRp9QLz4uCKA\n"                           \
    "r2J+999c32NyWrrBqqfHhlncHoE+b86zmfLrGiQPIm/rC0tfpmYTAl61\n"                                   \
    "-----END PRIVATE KEY-----\n"

#define TEST_KEY_PIN "sha256//jCu/z0UQQMUkYmcqOKayqhTW467C0y7Kr+3kh5i5Ya8="

#endif
