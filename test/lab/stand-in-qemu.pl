#!/usr/bin/perl
# Stands in for a QEMU with SEV-SNP, which no emulated machine can run. It takes exactly the arguments that TeeUp's unit
# gives, shows them as its command line, and starts a real QEMU without SNP: paused, 64 MiB, with the real GPU address
# through VFIO, the real disk, seed and firmware. For its guest an sshd answers at the forwarded port, which lets in
# whom the cloud-init seed names and whose key stands on the console, as cloud-init prints it.
# Only what Debian's perl-base has.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use POSIX ":sys_wait_h";

my @given = @ARGV;
$0 = join " ", $0, @given;

my (@nested, $qmp, $port, $console);
while (@given) {
    my $option = shift @given;
    next if $option =~ /^-(nodefaults|no-user-config|no-reboot)$/;
    my $value = shift @given;
    next if $option =~ /^-(name|accel|machine|object|cpu|smp|m|display|serial)$/;
    ($qmp) = $value =~ /^unix:([^,]+)/, next if $option eq "-qmp";
    ($port) = $value =~ /hostfwd=tcp:127\.0\.0\.1:(\d+)-:22/, $value = "user,id=net0" if $option eq "-netdev";
    ($console) = $value =~ /path=([^,]+)/ if $option eq "-chardev";
    push @nested, $option, $value;
}
die "the stand-in misses a QMP socket, a forwarded port or a console\n" unless $qmp && $port && $console;
my ($folder) = $console =~ m{^(.*)/};

sub start { my $pid = fork // die "fork: $!"; exec(@_) or die "$_[0]: $!" unless $pid; return $pid }

my $machine = start("/usr/bin/qemu-system-x86_64", "-S", "-nodefaults", "-no-user-config", "-display", "none",
    "-accel", "tcg", "-machine", "q35", "-m", "64", "-name", "lab-nested", "-serial", "chardev:con0", @nested);

open my $seed, "<", "$folder/user-data" or die "user-data: $!";
my ($login) = join("", <$seed>) =~ /"ssh_authorized_keys":\s*\[\s*"([^"]+)"/ or die "no key in user-data\n";
my $key = "$folder/lab-guest-key";
unless (-e $key) {
    system("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", $key) == 0 or die "ssh-keygen: $?";
    open my $pub, "<", "$key.pub" or die "$key.pub: $!";
    open my $out, ">>", $console or die "$console: $!";
    print $out "-----BEGIN SSH HOST KEY KEYS-----\n", <$pub>, "-----END SSH HOST KEY KEYS-----\n";
}
mkdir "/run/lab-guest";
open my $allowed, ">", "/run/lab-guest/authorized_keys" or die "authorized_keys: $!";
print $allowed "$login\n";
close $allowed;
mkdir "/run/sshd";
my $sshd = start("/usr/sbin/sshd", "-D", "-f", "/dev/null", map { ("-o", $_) } "Port=$port", "ListenAddress=127.0.0.1",
    "HostKey=$key", "AuthorizedKeysFile=/run/lab-guest/authorized_keys", "PidFile=none", "StrictModes=no", "UseDNS=no",
    "PasswordAuthentication=no", "KbdInteractiveAuthentication=no");

unlink $qmp;
my $server = IO::Socket::UNIX->new(Local => $qmp, Listen => 5) or die "$qmp: $!";
my $over = 0;
$SIG{TERM} = sub { $over = 1 };
my $all = IO::Select->new($server);
until ($over) {
    die "the machine ended by itself: $?\n" if waitpid($machine, WNOHANG) > 0;
    for my $ready ($all->can_read(1)) {
        if ($ready == $server) {
            my $client = $server->accept;
            $all->add($client);
            $client->syswrite(qq({"QMP": {"version": {}, "capabilities": []}}\n));
        } elsif ($ready->sysread(my $text, 65536)) {
            $ready->syswrite(qq({"return": {}}\n)) for $text =~ /"execute"/g;
            $over = 1 if $text =~ /system_powerdown/;
        } else {
            $all->remove($ready);
            $ready->close;
        }
    }
}
kill "TERM", $sshd, $machine;
waitpid($_, 0) for $sshd, $machine;
unlink $qmp;
