#!/usr/bin/perl
# Counts the lines and the bytes of the request's body.
use strict;
use warnings;

binmode STDIN;
my ($lines, $bytes) = (0, 0);
my $left = $ENV{CONTENT_LENGTH} // 0;
while ($left > 0 and my $got = read STDIN, my $piece, $left < 65536 ? $left : 65536) {
  $lines += $piece =~ tr/\n//;
  $bytes += $got;
  $left -= $got;
}
if ($bytes == 0) {
  print "Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nSend something to count.\n";
} else {
  print "Content-Type: text/plain\r\n\r\n$lines lines, $bytes bytes\n";
}
