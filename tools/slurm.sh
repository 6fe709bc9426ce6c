#!/bin/sh
# A SLURM of one node, this machine, to rehearse `--cluster slurm:...`. As root, on Debian; it
# replaces /etc/slurm/slurm.conf where the file is of an earlier call, and refuses another's.
set -eu

state=${1:?folder for its state}
mkdir -p "$state"
state=$(cd "$state" && pwd)
mark="# of tools/slurm.sh"
if [ -e /etc/slurm/slurm.conf ] && ! grep -q "$mark" /etc/slurm/slurm.conf; then
    echo "/etc/slurm/slurm.conf is there already: this machine has a SLURM of its own" >&2
    exit 1
fi
if ! command -v slurmctld >/dev/null 2>&1; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge openssl </dev/null >/dev/null
fi
node=$(hostname -s)
memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.8) }' /proc/meminfo)
cat >/etc/slurm/slurm.conf <<END
$mark
ClusterName=rehearsal
SlurmctldHost=$node
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$state/state
SlurmdSpoolDir=$state/spool
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
NodeName=$node CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$node Default=YES State=UP
END
mkdir -p "$state/state" "$state/spool" /run/munge
chown munge /run/munge
pgrep -x munged >/dev/null || su -s /bin/sh munge -c /usr/sbin/munged
pgrep -x slurmctld >/dev/null || slurmctld
pgrep -x slurmd >/dev/null || slurmd
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sinfo --noheader --states=idle,mixed,allocated 2>/dev/null | grep -q . && exit 0
    sleep 1
done
echo "SLURM did not start: see $state/slurmctld.log" >&2
exit 1
