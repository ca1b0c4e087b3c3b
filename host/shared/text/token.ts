// The token of HTTP (RFC 9110 5.6.2): a method, or the name of a field, a subprotocol or an extension.

/** The characters of a token, as the class of a regular expression. */
export const TOKEN_CHARS = "[!#$%&'*+.^_`|~0-9A-Za-z-]";

/** Matches a token, and nothing else. */
export const TOKEN = new RegExp(`^${TOKEN_CHARS}+$`);
