// Made of script/*.lua by `deno task lua`: change those, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g=ARGV[1],ARGV[4],redis.call;local h,i,j=
tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)~=''local l=table.
remove(ARGV)local m=math.floor(ARGV[3]~=''and ARGV[3]or ARGV[2])local function n(o,p)return{o and 1
or 0,p and 1 or 0,m,'='..f,'='..a}end;local function q(r)return type(r)=='number'and string.format(
'%.0f',r)or r or''end;local function s(r)local t=tonumber(r)return t and t%1==0 and math.abs(t)<=
9007199254740991 and t or nil end;local function u(r)return math.max(0,s(r)or 0)end;local function v(
w,x)for y=1,#x,1000 do g('HDEL',w,unpack(x,y,math.min(y+999,#x)))end end;local function z(w)local A,
B={},g('HGETALL',w)for y=1,#B,2 do A[B[y]]=B[y+1]end;return A,#B>0 end;local C,D,E=KEYS[#KEYS-1],
KEYS[#KEYS],#KEYS~=4;local F=string.char(255)local G={}local function H(x,I,w)local J=redis.pcall(I
and'ZADD'or'ZREM',x,unpack(I and{0,w}or{w}))G[x]=type(J)=='number'end;local function K(w,L,M)w=w:sub(
#C-7,-7)if w==''or w>=F then return end;H(C,L,w)H(D,L and not M,w)end;local function N(O)for x in
pairs(G)do local P=G[x]and g('PTTL',x)or-2;if P~=-2 and P<O then g('PEXPIRE',x,q(O))end end end;if e
=='page'then local x,Q=KEYS[tonumber(ARGV[9])],F..ARGV[12]if ARGV[12]~=''and g('ZREM',C,Q)+g('ZREM',
D,Q)==2 then for R,A in ipairs(KEYS)do g('ZREMRANGEBYLEX',A,'['..F,'+')H(A,true,'')end end;if not g(
'ZSCORE',x,'')then for R,S in ipairs(KEYS)do H(S,true,F..f)end;N(j)return n(false)end;local T=n(true
)for R,w in ipairs(g('ZRANGEBYLEX',x,'('..ARGV[10],'('..F,'LIMIT',0,ARGV[11]))do T[#T+1]='='..w end;
return T end;if e=='index'then for y=1,#KEYS-2 do local U=redis.pcall('HMGET',KEYS[y],'epoch',
'prefix','state','override','override.until')local L=not U.err and(U[1]or'')~=''and(U[2]or ARGV[8])
==ARGV[8]local V=s(U[5])K(KEYS[y],L,U[3]=='CLOSED'and((U[4]or'')==''or V and V<=m))end;N(j)return n(
true)end;if e=='remove'then K(a)return n(g('DEL',a,b,c,d)>0)end;if e=='confirm'then g('HDEL',a,
unpack(ARGV,9))return n(true)end;if ARGV[3]==''then local W,X=pcall(g,'TIME')if W then m=X[1]*1000+
math.floor(X[2]/1000)end end;local Y,Z,_,a0=z(a),{},{},false;local function a1(a2,r)Y[a2]=q(r)Z[a2],
a0=Y[a2],true end;local function a3(a2)Y[a2],Z[a2],a0=nil,nil,true;_[#_+1]=a2 end;local function a4(
a2)return s(Y[a2])end;local function a5()return(Y.override or'')~=''end;local function a6(a2)return
a2:sub(1,6)=='lease:'end;if Y.epoch==''then Y.epoch=nil end;local a7=not Y.epoch;if Y.prefix and Y.
prefix~=ARGV[8]then return redis.error_reply(
'ERR the circuit belongs to a store with another prefix')end;if e=='record'and not E then local a8=
a4('indexed')if a7 or not a8 or a8>m or m-a8>=math.min(j,864e5)/8 then return n(false,true)end end;
local function a9(a2,r)Y[a2],Z[a2]=r,r end;if not a7 then if not({CLOSED=1,OPEN=1,HALF_OPEN=1})[Y.
state]then a9('state','CLOSED')end;if u(Y.generation)~=a4('generation')then a9('generation','0')end;
if u(Y.since)~=a4('since')then a9('since',Y.generation)end;local aa={forced_open=1,forced_closed=1,
disabled=1,metrics_only=1}if a5()and not aa[Y.override]then for R,a2 in ipairs({'','.until',
'.reason','.actor'})do a9('override'..a2,'')end end end;local ab,ac={'epoch','policyHash','outcomes'
,'cursor','since','trial','halfOpen.successes','halfOpen.failures','totals.successes',
'totals.failures','totals.rejected','totals.slow','lastFailureAt','lastSuccessAt','ids',
'sinceClosed.successes','sinceClosed.failures','sinceClosed.slow','consecutiveSuccesses',
'consecutiveFailures','start','newest.successes','newest.failures','newest.slow','floor','after',
'from','older.successes','older.failures','older.slow'},16;local ad,ae,af,ag={},nil,false,false;
local U=g('HMGET',b,'id:'..f,unpack(ab))local W=s(table.remove(U,1))if not a7 and U[1]==Y.epoch then
for y,ah in ipairs(ab)do if y>4 then ad[ah]=s(U[y])else ad[ah]=U[y]or nil end end;if W and m-math.
floor(W/2)<60000 then ae=W%2==1 end else U,ag={},U[1]end;local ai=ad.policyHash;local function aj(ah
)return ad[ah]or 0 end;local function ak(ah,t)if t~=0 then ad[ah]=aj(ah)+t end end;local function al(
am,an,ao,ap)ak(am..'.successes',an)ak(am..'.failures',ao)ak(am..'.slow',ap)end;local function aq(am)
return aj(am..'.successes'),aj(am..'.failures'),aj(am..'.slow')end;local function ar(...)for R,ah in
ipairs({...})do ad[ah]=nil end end;local function as()if ad.since~=a4('since')then ar('outcomes',
unpack(ab,ac))ad.since=a4('since')end;if ad.trial~=a4('generation')then ar('halfOpen.successes',
'halfOpen.failures')ad.trial=a4('generation')end end;as()local function at(au)ae,af,a0=au,true,true
end;local av={'consecutiveFailures','consecutiveSuccesses','sinceClosed.failures',
'sinceClosed.successes','sinceClosed.slow','totals.failures','totals.successes','totals.rejected',
'totals.slow','halfOpen.successes','halfOpen.failures'}local function aw(ax,ay,az,aA,aB,V,aC,aD)if l
==''then return end;local aE,aF={},{}for a2,r in pairs(Y)do local aj,aG=a2:match(
'^row:(%d+) %-?%d+ (.*)$')if aj then local a8=tonumber(r:match('^%S+ %S+ %S+ %S+ (%S+)'))or 0;local
aH,aI={a8,tonumber(aj),aG,a2},aF[aG]aE[#aE+1]=aH;if not aI or a8<aI[1]or a8==aI[1]and aH[2]<aI[2]
then aF[aG]=aH end end end;if#aE>=64 then for R,aH in ipairs(aE)do local aI=aF[aH[3]]aH[5]=(
'%020.0f%020.0f%s %020.0f'):format(aI[1],aI[2],aH[3],aH[2])end;table.sort(aE,function(aJ,aK)return
aJ[5]<aK[5]end)local aL,aM=aE[1][4],aE[2][4]local aN,aO=Y[aM]:match('^(%d+)(.*)$')a1(aM,q(u(aN)+1+u(
Y[aL]:match('^%d+')))..(aO or''))a3(aL)end;local aH={0,ax,Y.state,ay or Y.state,q(m),aB or'-',q(V or
'-')}for R,ah in ipairs(av)do aH[#aH+1]=q(aj(ah))end;aH[#aH+1]=aA or l;aC=q(aC or a4('generation')+1
)az=q(az or m)a1('row:'..aC..' '..az..' '..(aD or Y.epoch),table.concat(aH,' '))end;local function
aP(aC,az,aQ)a1('generation',aC)a1('began',az)if aQ then a1('since',aC)end;for a2 in pairs(Y)do if a6(
a2)then a3(a2)end end;as()end;local function aR(az,aQ)aP(a4('generation')+1,az,aQ)end;local function
aS(aD,aC,az)return aD==Y.epoch and tonumber(aC)==a4('generation')and tonumber(az)==(a4('began')or 0)
end;local aT=false;local aU=f..'.'..q(m)local function aV(aC)for a2 in pairs(Y)do if a2:sub(1,4)~=
'row:'and a2~='expires'then a3(a2)end end;ad,aT={},true;a1('epoch',aU)a1('state','CLOSED')a1(
'prefix',ARGV[8])aP(aC,m,true)end;local function aW(az,aB,V,aX,aY)a1('override',aB)a1(
'override.until',V)a1('override.reason',aX)a1('override.actor',aY)aT=true;aR(az,true)end;local aZ={}
local function a_()local V=a4('override.until')if a5()and V and V<=m then local b0=
'{"reason":"expired","actor":null,'..(l:match('"isolate":.*')or'}')aw('released',nil,V,b0,Y.override
)for a2,r in pairs(Y)do if a2:sub(1,8)=='override'then aZ['released'..a2:sub(9)]=r end end;aW(V)end
end;local function b1()return Y.epoch..':'..Y.since end;local b2={}local function b3(w,aM,b4,t,ap,b5
)local A,b6=z(w)if A.of~=b1()then if b4 and b6 then g('DEL',w)end;A={}b2[w]=b4 end;local b7,b8,b9,ba
={},{0,0},nil,{}local function bb(a2,bc)if bc==0 then return end;A[a2]=q(u(A[a2])+bc)b7[#b7+1],b7[#
b7+2]=a2,A[a2]end;local bd=b4 and{[q(b4)]=t,['s'..q(b4)]=ap}or{}for a2,bc in pairs(bd)do if b5 and A
[a2]then A[a2],ba[#ba+1]=nil,a2 end;bb(a2,bc)end;for a2,be in pairs(A)do local Q,az=a2:match(
'^(s?)(%-?%d+)$')az=tonumber(az)if az and(az>aM or az==b4)then local y=#Q+1;b8[y]=b8[y]+u(be)b9=math
.min(b9 or az,az)elseif az then ba[#ba+1]=a2 end end;if b4 and#ba>(b5 and 0 or 20)then v(w,ba)end;if
#b7>0 then g('HSET',w,'of',b1(),unpack(b7))end;return b8[1],b8[2],b9 end;local function bf(aM,b4,an,
ao,ap)local bg,bh,bi=aq('older')local b5=b4 and b4<=aM;local bj,R,b9,bk=b5 or ad.after and ad.after>
aM,nil,nil,nil;if bj or bg+an>0 then bg,R,b9=b3(d,aM,b4,an,0,b5)end;if bj or bh+bi+ao+ap>0 then bh,
bi,bk=b3(c,aM,b4,ao,ap,b5)end;if b5 then aM=b4-1;ad.floor=aM end;ad['older.successes'],ad[
'older.failures'],ad['older.slow']=bg,bh,bi;ad.after,ad.from=aM,b9 and bk and math.min(b9,bk)or b9
or bk end;local function bl(an,ao,ap,bm)local bn,bo,b4=math.ceil(h/10),m,ad.start;if not b4 or bm>0
or m>=b4+bn then bo=math.max(m,b4 or m)b4=math.floor((bo-bm)/bn)*bn;if b4<=bo-h then return end end;
if b4~=ad.start then local bp=math.max(ad.floor or bo-h,bo-h)ad.floor=bp;if ad.start and b4<ad.start
then return bf(bp,b4,an,ao,ap)end;if ad.start and ad.start>bp then bf(bp,ad.start,aq('newest'))else
ar('after','from','older.successes','older.failures','older.slow')end;ar('newest.successes',
'newest.failures','newest.slow')ad.start=b4 end;al('newest',an,ao,ap)end;local function bq(ah,br)
local bs=ad[ah]if not(bs and bs>br and bs<=m)then ad[ah]=br end end;local function be(an,ao,ap,bm)al(
'sinceClosed',an,ao,ap)if an>0 then ak('consecutiveSuccesses',an)ar('consecutiveFailures')bq(
'lastSuccessAt',m-bm)end;if ao>0 then local bt=ad.lastSuccessAt;if not bt or math.max(m,bt)-bm>=bt
then ak('consecutiveFailures',ao)ar('consecutiveSuccesses')end;bq('lastFailureAt',m-bm)end;if Y.
state=='HALF_OPEN'then al('halfOpen',an,ao,0)end;bl(an,ao,ap,bm)if i>0 then local br=('S'):rep(math.
min(an,i))..('F'):rep(ao)ad.outcomes=((ad.outcomes or'')..br):sub(-i)end end;local bu=100;local
function bv(a2)local V,bn=(Y[a2]or''):match('^(%S+) (%S+)$')V,bn=s(V),s(bn)if V and bn then return V
,bn end end;local function bw(bx,by,bz)local bA=0;for a2 in pairs(Y)do if a6(a2)then local V,bn=bv(
a2)if not V or V<=m or bn>0 and V-m>2*bn then a3(a2)elseif bn>0 then bA=bA+1 end end end;local a2=
'lease:'..bx;local V,bn=bv(a2)if V then return bn>0 end;if bA>=by then return false end;a1(a2,q(m+bz
)..' '..q(bz))return true end;local function bB(bx)local V,bn=bv('lease:'..bx)if not V or bn==0 then
return end;a1('lease:'..bx,q(V)..' 0')local be,aI,bC=0,nil,nil;for a2 in pairs(Y)do if a6(a2)then V,
bn=bv(a2)if bn==0 then be=be+1;if not aI or V<bC then aI,bC=a2,V end end end end;if be>bu then a3(aI
)end end;local o,p=true,false;local function bD(bE,bF)o=Y.epoch or bE;if not o then return end;if
not Y.epoch then aV(1)end;if ae==nil then a_()at(bF())end;o=ae end;if e=='record'then local aD,aC=
ARGV[9],tonumber(ARGV[10])local an,ao,ap=tonumber(ARGV[12]),tonumber(ARGV[13]),tonumber(ARGV[15])bD(
true,function()local bG=aS(aD,aC,ARGV[11])if aD==''then bG=aC==0 and a4('generation')==1 end;al(
'totals',an,ao,ap)ak('totals.rejected',tonumber(ARGV[14]))ad.policyHash=ARGV[18]if bG and an+ao>0
then be(an,ao,ap,math.max(0,math.floor(ARGV[16])))end;bB(ARGV[17])return bG end)elseif e=='acquire'
and Y.epoch then a_()p=ae or false;if a5()then o=Y.override~='forced_open'elseif Y.state~='CLOSED'
then local P,bn=(a4('openUntil')or m)-m,a4('cooldownMs')local bH=bn and P>bn+math.max(bn,60000)if
not p and Y.state=='OPEN'and(P<=0 or bH)then aw('half_opened','HALF_OPEN')a1('state','HALF_OPEN')a1(
'reason','cooldown_passed')aR(m)p=true;at(true)end;o=Y.state=='HALF_OPEN'and bw(ARGV[9],tonumber(
ARGV[10]),tonumber(ARGV[11]))end elseif e=='transition'then local ay,bI=ARGV[9],ARGV[14]~=''bD(not
bI,function()if bI and not aS(ARGV[13],ARGV[14],ARGV[15])then return false end;if ARGV[10]=='closed'
and aj('halfOpen.failures')>0 then return false end;aw(ARGV[10],ay)if ay=='OPEN'then a1(
'reopenCount',Y.state=='HALF_OPEN'and u(Y.reopenCount)+1 or 0)a1('openedAt',m)a1('openUntil',m+ARGV[
11])a1('cooldownMs',ARGV[11])a1('lastFailure',ARGV[16])else if Y.state~='CLOSED'then a1('closedAt',m
)end;a1('reopenCount',0)a1('openUntil')a1('cooldownMs')end;a1('state',ay)a1('reason',ARGV[12])aR(m,
ay=='CLOSED')return true end)elseif e=='override'then local aB,V=ARGV[9],tonumber(ARGV[10])bD(aB~=''
,function()if aB==''and not a5()then return false end;V=V and math.floor(V-ARGV[2]+m)aw(aB==''and
'released'or aB,nil,nil,nil,aB==''and Y.override or aB,V)aW(m,aB,V,ARGV[11],ARGV[12])return true end
)elseif e=='restore'then local bs=Y.epoch;bD(true,function()if bs and ARGV[9]=='keep'then return
false end;local aC=math.max(a4('generation'),ARGV[10])+1;aw('imported',ARGV[13]:sub(2),nil,nil,nil,
nil,aC,aU)aV(aC)local function bJ(r)local Q=r:sub(1,1)if Q=='='then return r:sub(2)end;return Q=='@'
and q(r:sub(2)-ARGV[2]+m)or r end;local aI,bK=12+2*ARGV[11],{}for R,ah in ipairs(ab)do bK[ah]=true
end;for y=12,aI-1,2 do local a2,r=ARGV[y],bJ(ARGV[y+1])if bK[a2]then ad[a2]=a2~='policyHash'and
tonumber(r)or r else a1(a2,r)end end;for y=aI,#ARGV,4 do if ad.start then bf(-1e15,ad.start,aq(
'newest'))end;ad.start,ad['newest.successes']=tonumber(bJ(ARGV[y])),tonumber(ARGV[y+1])ad[
'newest.failures'],ad['newest.slow']=tonumber(ARGV[y+2]),tonumber(ARGV[y+3])end;ai=ad.policyHash;
return true end)end;local bg,bh,ap=0,0,0;local aM=math.max(m,ad.start or m)-h;aM=math.max(aM,ad.
floor or aM)if ad.start and ad.start>aM then if(ad.after or aM)>aM or(ad.from or m)<=aM then bf(aM,
nil,0,0,0)end;bg,bh,ap=aq('newest')bg,bh,ap=bg+aj('older.successes'),bh+aj('older.failures'),ap+aj(
'older.slow')end;if a0 then ad.epoch=Y.epoch;if not a4('openedAt')and not a5()then j=math.min(j,
864e5)end;local bL=math.max(m,a4('openUntil')or 0,a4('override.until')or 0)+j;local bM=bL>(a4(
'expires')or 0)if bM then a1('expires',bL+math.floor(j/8))end;if E then a1('indexed',m)end;v(a,_)
local b7,ba={},{}for a2,r in pairs(Z)do b7[#b7+1],b7[#b7+2]=a2,r end;if#b7>0 then g('HSET',a,unpack(
b7))end;b7={}if af then ad.ids=aj('ids')+1;if ad.ids%16==0 then local T=g('HSCAN',b,(ad.cursor or'')
:match('^%d+$')or 0,'MATCH','id:*','COUNT',64)ad.cursor=T[1]for y=1,#T[2],2 do if m-math.floor(u(T[2
][y+1])/2)>=60000 then ba[#ba+1]=T[2][y]end end end;b7={'id:'..f,q(m*2+(ae and 1 or 0))}end;for y,ah
in ipairs(ab)do local r=q(ad[ah])if r~=(U[y]or'')then b7[#b7+1],b7[#b7+2]=ah,r end end;b2[a],b2[b]=
aT,not U[1]if ag then g('DEL',b)end;v(b,ba)if#b7>0 then g('HSET',b,unpack(b7))end;if E then K(a,true
,Y.state=='CLOSED'and not a5())N(a4('expires')-m)end;for R,w in ipairs({a,b,c,d})do if w==a and a5()
and not a4('override.until')then if aT then g('PERSIST',a)end elseif b2[w]or bM and not a7 then g(
'PEXPIRE',w,q(a4('expires')-m))end end end;local au=n(o,p)local function bN(A,bs)for a2,r in pairs(A
)do local bO=a2:sub(1,4)=='row:'and not k;if not bO and not(a6(a2)and r:sub(-2)==' 0')then au[#au+1]
,au[#au+2]=(bs or'')..a2,'='..q(r)end end end;if Y.epoch then bN(Y)bN(ad)bN(aZ)bN({policyHash=ai or
'',successes=bg,failures=bh,slow=ap},'answer.')if e=='dump'then bN(z(c),'failures:')bN(z(d),
'successes:')end end;return au`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "929283ffe99d9351c1d131344611c0c2b6bead88";

/** The line by which Upstash locks only the keys that a script declares. Redis 7 refuses it. */
export const LOCKING = "#!lua flags=allow-key-locking\n";

/** The SHA-1 of the script behind that line. */
export const LOCKING_SHA1: string = "7854d862e7c11d698f5fef4dd41513c507fbc818";
