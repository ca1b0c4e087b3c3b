// Reason phrases of status codes (RFC 9110 15).

import { putText } from "../kernel/text";

/**
 * Writes the reason phrase of a status (RFC 9110 15), or the name of its class when the status is not registered.
 * Returns the end.
 *
 * It is long because it is the table: asc has tables of numbers alone, and writes each text as a few stores.
 */
export function putPhrase(at: usize, status: u32): usize {
  switch (status) {
    case 200:
      return putText(at, "OK");
    case 201:
      return putText(at, "Created");
    case 202:
      return putText(at, "Accepted");
    case 203:
      return putText(at, "Non-Authoritative Information");
    case 204:
      return putText(at, "No Content");
    case 205:
      return putText(at, "Reset Content");
    case 206:
      return putText(at, "Partial Content");
    case 207:
      return putText(at, "Multi-Status");
    case 300:
      return putText(at, "Multiple Choices");
    case 301:
      return putText(at, "Moved Permanently");
    case 302:
      return putText(at, "Found");
    case 303:
      return putText(at, "See Other");
    case 304:
      return putText(at, "Not Modified");
    case 307:
      return putText(at, "Temporary Redirect");
    case 308:
      return putText(at, "Permanent Redirect");
    case 400:
      return putText(at, "Bad Request");
    case 401:
      return putText(at, "Unauthorized");
    case 402:
      return putText(at, "Payment Required");
    case 403:
      return putText(at, "Forbidden");
    case 404:
      return putText(at, "Not Found");
    case 405:
      return putText(at, "Method Not Allowed");
    case 406:
      return putText(at, "Not Acceptable");
    case 408:
      return putText(at, "Request Timeout");
    case 409:
      return putText(at, "Conflict");
    case 410:
      return putText(at, "Gone");
    case 411:
      return putText(at, "Length Required");
    case 412:
      return putText(at, "Precondition Failed");
    case 413:
      return putText(at, "Content Too Large");
    case 414:
      return putText(at, "URI Too Long");
    case 415:
      return putText(at, "Unsupported Media Type");
    case 416:
      return putText(at, "Range Not Satisfiable");
    case 417:
      return putText(at, "Expectation Failed");
    case 421:
      return putText(at, "Misdirected Request");
    case 422:
      return putText(at, "Unprocessable Content");
    case 425:
      return putText(at, "Too Early");
    case 426:
      return putText(at, "Upgrade Required");
    case 428:
      return putText(at, "Precondition Required");
    case 429:
      return putText(at, "Too Many Requests");
    case 431:
      return putText(at, "Request Header Fields Too Large");
    case 451:
      return putText(at, "Unavailable For Legal Reasons");
    case 500:
      return putText(at, "Internal Server Error");
    case 501:
      return putText(at, "Not Implemented");
    case 502:
      return putText(at, "Bad Gateway");
    case 503:
      return putText(at, "Service Unavailable");
    case 504:
      return putText(at, "Gateway Timeout");
    case 505:
      return putText(at, "HTTP Version Not Supported");
    case 507:
      return putText(at, "Insufficient Storage");
    case 511:
      return putText(at, "Network Authentication Required");
    default:
      return status < 300
        ? putText(at, "Success")
        : status < 400
          ? putText(at, "Redirection")
          : status < 500
            ? putText(at, "Client Error")
            : putText(at, "Server Error");
  }
}
